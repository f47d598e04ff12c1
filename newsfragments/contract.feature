Accounts for groups of terminals see their part of alarms with their files, of positions and of what data was spent on, where these lists were shut for them.
