The console shows alarms as they come and those that are kept, filtered by vehicle, kind, level and day, with their pictures, sound and films; operators acknowledge them
with a note, and the navigation says how many nobody has seen.
