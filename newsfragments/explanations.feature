`decode` says the zone of every time, codes of the video messages in Chinese as well, and negative coordinates of devices that send two's complement.
