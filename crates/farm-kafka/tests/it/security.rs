//! TLS and SASL, over the system's OpenSSL.

use farm_kafka::{Consumer, KafkaError, Producer, Settings, StartAt, apply_topics, partitions};

use crate::{new_topic, number, outgoing, recv, send_numbers, spec, start, unique, variable, with, within};

fn secure(mechanism: &str, password: &str) -> Settings {
    let settings = Settings { group: unique("secure"), ..Settings::new(variable("KAFKA_BOOTSTRAP_SASL")) };
    let properties = [
        ("security.protocol", "SASL_SSL"),
        ("ssl.ca.location", &variable("KAFKA_SASL_CA")),
        ("sasl.mechanism", mechanism),
        ("sasl.username", &variable("KAFKA_SASL_USER")),
        ("sasl.password", password),
    ];
    with(&settings, &properties)
}

#[tokio::test]
async fn every_mechanism_lets_the_right_password_in() {
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let settings = secure(mechanism, &variable("KAFKA_SASL_PASSWORD"));
        let topic = new_topic(&settings, "secure", 1).await;
        send_numbers(&settings, &topic, 1..2, true).await;
        let consumer = start(&settings, &topic);
        assert_eq!(number(&recv(&consumer).await), 1, "{mechanism}");
        consumer.close().await;
    }
}

#[tokio::test]
async fn a_wrong_password_is_an_auth_error_that_does_not_show_it() {
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let settings = with(&secure(mechanism, "hunter2-is-wrong"), &[("message.timeout.ms", "2000")]);
        let topic = "tasks".to_owned();
        let consumer = Consumer::start(&settings, std::slice::from_ref(&topic), StartAt::Committed).unwrap();
        let producer = Producer::start(settings.clone()).unwrap();
        let errors = [
            within("a send", producer.send(outgoing(&topic, "x"))).await.unwrap_err(),
            within("a record", consumer.recv()).await.unwrap_err(),
            within("topics", apply_topics(&settings, &[spec(&topic, 1)])).await.unwrap_err(),
            within("partitions", partitions(&settings, &topic)).await.unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, KafkaError::Auth { .. }), "{mechanism}: {error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        consumer.close().await;
    }
}

#[tokio::test]
async fn a_broker_that_no_authority_vouches_for_is_an_auth_error() {
    let mut settings = secure("PLAIN", "never-sent");
    settings.properties.remove("ssl.ca.location");
    let error = within("partitions", partitions(&settings, "tasks")).await.unwrap_err();
    assert!(matches!(error, KafkaError::Auth { .. }), "{error}");
}
