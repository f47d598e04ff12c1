`GET /api/v1/streams` tells of each stream which sound and picture is being transcoded and what that has cost. The page asks for H.264 where the browser cannot decode H.265.
