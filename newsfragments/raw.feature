`/live/{sim}_{ch}.jt1078` gives a channel as packets of JT/T 1078, over HTTP and WebSocket: whole frames from a key frame on, with the sound as the terminal sends it.
