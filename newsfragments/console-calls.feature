In the console one talks to a vehicle, listens to it, or speaks to all the vehicles that are selected; who holds a vehicle's microphone stands at its picture and on its page.
