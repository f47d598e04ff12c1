In the page operators talk to a terminal's driver and turn its camera from the picture: a microphone button, and arrows that go on while they are held.
