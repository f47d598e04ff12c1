Superior platforms: the relay is the subordinate platform of any number of them by JT/T 809-2011 and 2019 (`[[superior]]`). Main and subordinate link with
keep-alive, reconnecting and fall-back; vehicles' registrations, positions and alarms go up; what cannot be sent waits on disk, over restarts, and goes up
afterwards in order; photos, texts, listen-in, recorder data and emergency access asked for by a superior are carried out by the terminal and answered.
