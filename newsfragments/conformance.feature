`jt1078relay decode --jsonl FILE --check` compares a vector file with what this program reads and writes, and tells what differs. `--exact` answers with all that
`encode --jsonl` needs for the very bytes again: trailing bytes, odd padding, counts that lie, and bodies in another edition's layout.
