`[[hook]]` tells other programs what happens by signed HTTP POST, repeated when they did not take it, and may ask them before each play.
