//! Questions to statements, rows to answers.
