//! What the spawned copy of our binary does before it becomes the program.
