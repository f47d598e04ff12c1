`decode` says the zone of every time, codes of the video messages in Chinese as well, and negative coordinates of devices that send two's complement.
One line a message (`decode --pcap FILE --brief`) now has its values with their units.
