Cameras are turned by `POST …/channels/{ch}/ptz`; a rotation that nobody renews is stopped by the relay after `terminals.ptz_hold_s`.
