`jt1078relay decode` explains JT/T 808 frames and JT/T 1078 packets field by field, with offsets, Chinese and English names, units and flags, also when they
are broken in the middle. All messages, location items and parameters of JT/T 808-2011, -2013 and -2019, of JT/T 1078-2016 and of the active-safety texts (苏标, 粤标,
川标, 黑标, 湘标) are known; whatever is not stays as bytes. `--jsonl` takes vector files, `encode --jsonl` goes the other way. `docs/reference/jt808.md` lists every field.
