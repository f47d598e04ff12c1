`/live/ws`: many channels on one WebSocket, with one check of who asks and a queue that is fair between them. A page of sixteen pictures opens one connection.
