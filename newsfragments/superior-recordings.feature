Superior platforms' links are recorded by the API too (`POST /api/v1/superiors/{name}/recording`), and `replay` plays a superior's side of both links.
