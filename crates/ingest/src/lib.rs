//! Bytes to events: decoding, validation, sampling and enrichment, without HTTP and without I/O.
