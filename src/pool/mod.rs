//! Which worker gets a call, and how many workers there are.
