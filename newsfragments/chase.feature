The page's player stays within about a second of now: it plays faster when it is behind, jumps when that does not help, and leaves terminals alone that send in bursts.
