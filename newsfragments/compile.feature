JT1078RELAY_COMPILE=1 at installing compiles the hot path of many streams with mypyc; without it nothing is compiled.
