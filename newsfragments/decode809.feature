`jt1078relay decode jt809` explains JT/T 809 frames of both editions: header, envelope, sub-business, CRC, positions inside, times spelt out; the edition is guessed and
said, encrypted bodies are read with `--m1 --ia1 --ic1`, dumps that are already unescaped are recognised. `decode --jsonl` and `encode --jsonl` take JT/T 809 vectors.
