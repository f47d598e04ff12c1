The simulated terminal answers operators: cameras, doors, areas, questions, and photos that it draws, sends in sub-packages and sends again where pieces are missing.
