//! Synchronisation: from the order and the clocks of the network to those of the listener. Plain
//! numbers in and out; nothing here knows the engine.
