The console has a map: all vehicles as arrows with their plates, one vehicle's track of a day with its course along it, moved by mouse, fingers and keys. It fetches nothing
unless `http.map_tiles` names a server of map pictures; `http.map_datum = "gcj02"` fits positions to Chinese maps. Simulated alarms have GMT+8 times.
