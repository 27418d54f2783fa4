//! The service over a real socket, with the generated client.

use farm_core::port::{Blobs, TreeFile};
use farm_rag::server::{MAX_MESSAGE_BYTES, Settings};
use farm_wire::v1;
use farm_wire::v1::context_service_client::ContextServiceClient;
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::tree::{Running, Tree, blob_id, project};

type Client = ContextServiceClient<Channel>;

async fn connect(running: &Running) -> Client {
    let channel = Channel::from_shared(running.url()).unwrap().connect().await.unwrap();
    Client::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

fn manifest(tree: &str, files: Vec<TreeFile>) -> v1::index_request::Step {
    let entry =
        |file: TreeFile| v1::ManifestEntry { path: file.path, oid: file.oid.to_string(), size: file.size };
    v1::index_request::Step::Manifest(v1::Manifest {
        tree: tree.into(),
        entries: files.into_iter().map(entry).collect(),
    })
}

fn blob(oid: &str, content: &[u8]) -> v1::index_request::Step {
    v1::index_request::Step::Blob(v1::Blob { oid: oid.into(), content: content.to_vec().into() })
}

/// Sends all steps at once and gives all answers.
async fn send(
    client: &mut Client,
    steps: Vec<v1::index_request::Step>,
) -> Result<Vec<v1::index_response::Step>, Status> {
    let steps = steps.into_iter().map(|step| v1::IndexRequest { step: Some(step) });
    let mut answers = client.index(tokio_stream::iter(steps)).await?.into_inner();
    let mut all = Vec::new();
    while let Some(answer) = answers.next().await {
        all.extend(answer?.step);
    }
    Ok(all)
}

fn whole(tree: &Tree) -> Vec<v1::index_request::Step> {
    let files = tree.files();
    let blobs = files.iter().map(|file| blob(file.oid.as_str(), &tree.read(&file.oid).unwrap()));
    let blobs: Vec<_> = blobs.collect();
    std::iter::once(manifest(tree.oid().as_str(), files)).chain(blobs).collect()
}

fn missing(answers: &[v1::index_response::Step]) -> usize {
    let of = |answer: &v1::index_response::Step| match answer {
        v1::index_response::Step::Missing(missing) => missing.oids.len(),
        v1::index_response::Step::Indexed(_) => 0,
    };
    answers.iter().map(of).sum()
}

async fn search(client: &mut Client, tree: &Tree, query: &str) -> Result<v1::SearchResponse, Status> {
    let request = v1::SearchRequest {
        tree: tree.oid().to_string(),
        query: query.into(),
        limit: 2,
        ..Default::default()
    };
    client.search(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_tree_is_brought_once_and_the_next_costs_what_is_new() {
    let running = Running::start(Settings::default()).await;
    let mut client = connect(&running).await;
    let tree = project();
    assert_eq!(search(&mut client, &tree, "retry").await.unwrap_err().code(), Code::NotFound);

    let answers = send(&mut client, whole(&tree)).await.unwrap();
    assert_eq!(missing(&answers), 8);
    let Some(v1::index_response::Step::Indexed(indexed)) = answers.last() else { panic!("{answers:?}") };
    assert_eq!(indexed.files, 8);
    assert!(indexed.definitions >= 12, "{indexed:?}");

    let found = search(&mut client, &tree, "session retry").await.unwrap();
    assert_eq!(found.results.len(), 2);
    assert_eq!(found.results[0].symbol, "Session.send_with_retry");
    assert!(found.dropped > 0);

    let next = tree.clone().with("src/new.rs", "fn fresh() {}\n");
    let answers = send(&mut client, vec![manifest(next.oid().as_str(), next.files())]).await.unwrap();
    assert_eq!(missing(&answers), 1, "blobs are shared between trees");
    // What was asked for and not brought is found by its path.
    assert_eq!(search(&mut client, &next, "fresh new").await.unwrap().results, []);
    running.stop().await;
}

#[tokio::test]
async fn symbols_snippets_and_touched_symbols_are_served() {
    let running = Running::start(Settings::default()).await;
    let mut client = connect(&running).await;
    let tree = project();
    send(&mut client, whole(&tree)).await.unwrap();

    let request = |kind: &str| v1::FindSymbolRequest {
        tree: tree.oid().to_string(),
        name: "evict".into(),
        kind: kind.into(),
        limit: 0,
    };
    let found = client.find_symbol(request("method")).await.unwrap().into_inner().symbols;
    assert_eq!((found[0].path.as_str(), found[0].start_line, found[0].end_line), ("py/cache.py", 7, 8));
    assert_eq!(client.find_symbol(request("verb")).await.unwrap_err().code(), Code::InvalidArgument);

    let id = blob_id(tree.text("src/lib.rs").as_bytes()).to_string();
    let request = v1::SnippetsRequest { blob_ids: vec!["x".into(), id.clone(), blob_id(b"?").to_string()] };
    let snippets: Vec<_> = client.snippets(request).await.unwrap().into_inner().collect().await;
    let snippets: Vec<_> = snippets.into_iter().map(Result::unwrap).collect();
    assert_eq!(snippets, [v1::SnippetsResponse { blob_id: id, snippet: tree.text("src/lib.rs") }]);

    let request = v1::TouchedSymbolsRequest {
        path: "a.rs".into(),
        before: "fn f() {}\n".into(),
        after: "fn f() { g() }\n".into(),
    };
    let touched = client.touched_symbols(request).await.unwrap().into_inner();
    assert_eq!(touched, v1::TouchedSymbolsResponse { symbols: vec!["f".into()], known_language: true });
    running.stop().await;
}

#[tokio::test]
async fn uploads_that_lie_are_refused_and_leave_nothing() {
    let running = Running::start(Settings::default()).await;
    let mut client = connect(&running).await;
    let tree = project();
    let (files, id) = (tree.files(), tree.oid());
    let first = files[0].oid.to_string();
    let empty_path = vec![TreeFile { path: String::new(), ..files[0].clone() }];
    for (what, steps) in [
        ("no manifest", vec![]),
        ("a blob first", vec![blob(&first, b"x")]),
        ("not an id", vec![manifest("tree", vec![])]),
        ("two trees", vec![manifest(id.as_str(), files.clone()), manifest(&first, vec![])]),
        ("another content", vec![manifest(id.as_str(), files.clone()), blob(&first, b"poison")]),
        (
            "a blob not asked for",
            vec![manifest(id.as_str(), files.clone()), blob(blob_id(b"x").as_str(), b"x")],
        ),
        ("a blob twice", {
            let mut steps = whole(&tree);
            steps.push(steps[1].clone());
            steps
        }),
        ("no path", vec![manifest(id.as_str(), empty_path)]),
    ] {
        assert_eq!(send(&mut client, steps).await.unwrap_err().code(), Code::InvalidArgument, "{what}");
    }
    let nothing = tokio_stream::iter([v1::IndexRequest { step: None }]);
    let mut answers = client.index(nothing).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(search(&mut client, &tree, "retry").await.unwrap_err().code(), Code::NotFound);
    running.stop().await;
}

#[tokio::test]
async fn a_tree_that_does_not_fit_is_refused_and_the_service_lives() {
    let running = Running::start(Settings { memory_bytes: 1 << 20, ..Settings::default() }).await;
    let mut client = connect(&running).await;
    let text = |n: usize| format!("fn f_{n}() {{}}\n").repeat(2_000);
    let large = (0..40).fold(Tree::default(), |tree, n| tree.with(&format!("src/{n}.rs"), text(n)));
    assert_eq!(send(&mut client, whole(&large)).await.unwrap_err().code(), Code::ResourceExhausted);
    let listed: Vec<_> =
        (0..1_000).map(|n| TreeFile { path: format!("{n}"), oid: blob_id(b""), size: 0 }).collect();
    let steps = vec![manifest(large.oid().as_str(), listed)];
    assert_eq!(send(&mut client, steps).await.unwrap_err().code(), Code::ResourceExhausted);

    let small = project();
    send(&mut client, whole(&small)).await.unwrap();
    assert_eq!(search(&mut client, &small, "retry").await.unwrap().results.len(), 2);
    running.stop().await;
}

#[tokio::test]
async fn a_tree_that_was_forgotten_is_asked_for_again() {
    let running = Running::start(Settings { memory_bytes: 1 << 20, ..Settings::default() }).await;
    let mut client = connect(&running).await;
    let text = |n: usize| format!("fn f_{n}() {{}}\n").repeat(4_000);
    let trees: Vec<Tree> = (0..12)
        .map(|n| Tree::default().with("src/lib.rs", text(n)).with("other.rs", text(n + 100)))
        .collect();
    for tree in &trees {
        send(&mut client, whole(tree)).await.unwrap();
        assert_eq!(search(&mut client, tree, "src lib").await.unwrap().results[0].path, "src/lib.rs");
    }
    assert_eq!(search(&mut client, &trees[0], "lib").await.unwrap_err().code(), Code::NotFound);
    let steps = whole_or_missing(&mut client, &trees[0]).await;
    send(&mut client, steps).await.unwrap();
    assert!(search(&mut client, &trees[0], "lib").await.is_ok());
    running.stop().await;
}

/// The steps that bring a tree of which some blobs may be held.
async fn whole_or_missing(client: &mut Client, tree: &Tree) -> Vec<v1::index_request::Step> {
    let first = manifest(tree.oid().as_str(), tree.files());
    let answers = send(client, vec![first.clone()]).await.unwrap();
    let Some(v1::index_response::Step::Missing(missing)) = answers.into_iter().next() else { panic!() };
    let blobs = missing.oids.iter().map(|oid| blob(oid, &tree.read(&oid.parse().unwrap()).unwrap()));
    std::iter::once(first).chain(blobs).collect()
}

#[tokio::test]
async fn health_and_reflection_are_offered() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let running = Running::start(Settings::default()).await;
    let channel = Channel::from_shared(running.url()).unwrap().connect().await.unwrap();
    let service = "patchfarm.v1.ContextService".to_owned();
    let health = HealthClient::new(channel.clone())
        .check(HealthCheckRequest { service: service.clone() })
        .await
        .unwrap();
    assert_eq!(health.into_inner().status, 1);

    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    assert!(list.service.iter().any(|known| known.name == service), "{list:?}");
    running.stop().await;
}
