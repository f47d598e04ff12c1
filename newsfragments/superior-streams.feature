What a superior platform has open is shown (`GET /api/v1/superiors/{name}/streams`), with what was refused to it lately and why; operators end one of them.
