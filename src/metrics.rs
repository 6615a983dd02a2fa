//! The families of metrics, how long ended series are kept, and the two text formats.
