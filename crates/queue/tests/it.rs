//! The embedded queue from outside: the suite of every queue, and what only it promises.

mod it {
    pub mod embedded;
}
