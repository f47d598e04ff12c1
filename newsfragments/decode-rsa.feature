`jt1078relay decode jt808` takes a private key (`--rsa-n`, `--rsa-d`) and shows what RSA bodies hold, sub-packages put together included.
