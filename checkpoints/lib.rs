//! Weights that foretap brings along, as the bytes of their files. A package of their own, because together they are
//! larger than the crate that reads them. What they learned from stands in `README.md`.

/// The teacher, trained on simulated people: `teacher.safetensors`.
pub const TEACHER: &[u8] = include_bytes!("teacher.safetensors");

/// The student, trained on simulated people, too: `student.safetensors`.
pub const STUDENT: &[u8] = include_bytes!("student.safetensors");

/// Student and ranker with their router, quantized, as a phone loads them: `phone.foretap`.
pub const BUNDLE: &[u8] = include_bytes!("phone.foretap");
