/* The kernel s floor under a container start: what remains when the runtime itself costs nothing. */
