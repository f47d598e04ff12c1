The console has a page of vehicles: a table with search, groups and states, and for each vehicle its picture with a pad that turns the camera for as long as it is
held, the last starts of its channels hop by hop, identity, clock, data use, quirks, pictures, texts, parameters and control.
