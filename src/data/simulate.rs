//! People whose habits, and so the best possible score, are known.
