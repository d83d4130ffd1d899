//! The embedded queue from outside: the suite of every queue, and what only it promises.

mod it {
    pub mod common;
    pub mod damage;
    pub mod embedded;
    pub mod faults;
    pub mod kill;
    pub mod model;
    pub mod simulated;
}
