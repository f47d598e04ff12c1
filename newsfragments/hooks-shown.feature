`GET /api/v1/hooks` shows what became of each hook's deliveries and the last failure in words; `POST /api/v1/hooks/{name}/test` sends one signed delivery now and answers with what the receiver said.
