`jt1078relay simulate superior` is a superior platform made of software: it lets a subordinate platform log in (JT/T 809-2011 and 2019, encrypted or not, in TLS or
not), connects back, prints and records what comes, sends any message by hand or script, and misbehaves by option.
