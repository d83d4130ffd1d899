use crate::it::harness::TestStore;

testkit::reading_suite!(TestStore::new());
