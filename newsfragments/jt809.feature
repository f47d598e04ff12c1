Every JT/T 809 message of 2011 and 2019 and of the video extension is declared: ``decode`` and ``encode`` speak them. The links to superior platforms come later.
