AMR speech in bodies of several frames is taken apart and timed frame by frame; MP3, AMR and linear PCM are heard in every output.
