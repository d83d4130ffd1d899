//! People.
#![expect(missing_docs, reason = "the name of a test says it all")]

use model::Person;

use super::{Handles, is_conflict, person};

pub async fn people_come_back_by_e_mail(handles: Handles) {
    let people = [
        "Bea@example.com",
        "carl@example.com",
        "root@example.com",
        "Änne@example.com",
    ]
    .map(person);
    for index in [3, 1, 0, 2] {
        handles.first.create_person(&people[index]).await.unwrap();
    }
    assert_eq!(handles.second.people().await.unwrap(), people);
}

pub async fn e_mails_are_unique_without_regard_to_case(handles: Handles) {
    let store = handles.first;
    store.create_person(&person("Änne@Example.com")).await.unwrap();
    assert!(is_conflict(store.create_person(&person("änne@example.COM")).await));
    store.create_person(&person("anne@example.com")).await.unwrap();
    assert_eq!(store.people().await.unwrap().len(), 2);
}

pub async fn a_password_hash_is_replaced(handles: Handles) {
    let (one, two) = (person("one@example.com"), person("two@example.com"));
    handles.first.create_person(&one).await.unwrap();
    handles.first.create_person(&two).await.unwrap();
    handles.second.set_password_hash(one.id, "$argon2id$new").await.unwrap();
    let changed = Person {
        password_hash: "$argon2id$new".to_owned(),
        ..one
    };
    assert_eq!(handles.first.people().await.unwrap(), [changed, two]);
}

pub async fn a_person_is_deleted(handles: Handles) {
    let (one, two) = (person("one@example.com"), person("two@example.com"));
    handles.first.create_person(&one).await.unwrap();
    handles.first.create_person(&two).await.unwrap();
    handles.first.delete_person(one.id).await.unwrap();
    assert_eq!(handles.second.people().await.unwrap(), [two]);
    handles.first.create_person(&one).await.unwrap(); // the e-mail is free again
}
