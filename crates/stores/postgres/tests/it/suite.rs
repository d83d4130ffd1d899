use crate::it::harness::TestStore;

testkit::store_suite!(TestStore::new());
