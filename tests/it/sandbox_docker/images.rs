//! Which images are started from, which are made, and what of them is seen inside.

use super::*;

#[tokio::test]
#[ignore = "needs Docker"]
async fn concurrent_starts_put_the_toolbox_into_an_image_once() {
    let fresh = FreshImage::with(&[]);
    // As four processes would.
    let starts = (0..4).map(|_| async {
        let sandbox = connect(&options("images")).unwrap();
        let toolbox = sandbox.start(&spec(&fresh.name)).await.unwrap();
        assert_eq!(ok(&toolbox, "echo ran").await, "ran\n");
        toolbox.shut_down().await;
    });
    futures_util::future::join_all(starts).await;
    assert_eq!(fresh.derived().len(), 1, "{:?}", fresh.derived());
    let making =
        docker(&["ps", "--all", "--quiet", "--filter", &format!("label=mendwright.base={}", fresh.id)]);
    assert_eq!(making, "", "the container that it was made in is left");
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn an_image_that_somebody_removed_is_made_again() {
    let fresh = FreshImage::with(&[]);
    let sandbox = connect(&options("images")).unwrap();
    sandbox.start(&spec(&fresh.name)).await.unwrap().shut_down().await;
    docker(&["rmi", "--force", &fresh.derived()[0]]);
    let toolbox = sandbox.start(&spec(&fresh.name)).await.unwrap();
    assert_eq!(ok(&toolbox, "echo ran").await, "ran\n");
    toolbox.shut_down().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn what_an_image_says_of_itself_is_kept_but_for_ways_out_and_places_to_write() {
    let fresh = FreshImage::with(&[
        "ENV JAVA_HOME=/opt/java PATH=/opt/java/bin:/usr/bin:/bin HTTP_PROXY=http://user:secret@proxy HOME=/elsewhere",
        "VOLUME /data",
        "USER 33",
        "ENTRYPOINT [\"/bin/false\"]",
        "HEALTHCHECK CMD true",
    ]);
    let volumes = docker(&["volume", "ls", "--quiet"]);
    let sandbox = connect(&options("images")).unwrap();
    let toolbox = sandbox.start(&spec(&fresh.name)).await.unwrap();
    let said = ok(&toolbox, "echo $JAVA_HOME $PATH $HOME; id -u; id -un; env | grep -ci proxy; true").await;
    assert_eq!(said, "/opt/java /opt/java/bin:/usr/bin:/bin /home/agent\n1000\nagent\n0\n");
    fails(&toolbox, "touch /data/x").await;
    assert!(toolbox.description().contains("the image's volumes are empty and read-only: /data"));
    assert_eq!(docker(&["volume", "ls", "--quiet"]), volumes, "the engine made a volume");
    toolbox.shut_down().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn an_image_is_resolved_to_what_it_is_at_this_moment() {
    let fresh = FreshImage::with(&[]);
    let sandbox = connect(&options("images")).unwrap();
    let resolved = sandbox.resolve(&Root::Image(fresh.name.clone())).await.unwrap();
    assert_eq!((&resolved.digest, &resolved.root), (&fresh.id, &Root::Image(fresh.id.clone())));
    // The name moves on; the root does not.
    docker(&["tag", IMAGE, &fresh.name]);
    let again = sandbox.resolve(&resolved.root).await.unwrap();
    assert_eq!(again.digest, fresh.id);
    assert_ne!(sandbox.resolve(&Root::Image(fresh.name.clone())).await.unwrap().digest, fresh.id);
    docker(&["rmi", &fresh.name]);
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn an_image_that_cannot_be_had_is_refused_with_what_to_do() {
    let sandbox = connect(&options("images")).unwrap();
    let refusal = async |root: Root| {
        let spec = SandboxSpec { root, ..SandboxSpec::named("absent") };
        sandbox.start(&spec).await.err().unwrap().to_string()
    };
    let absent = refusal(Root::Image("127.0.0.1:1/nobody/serves:this".to_owned())).await;
    assert!(
        absent.starts_with("the docker sandbox cannot be used: the engine has no image 127.0.0.1:1/nobody/serves:this, and it cannot be pulled (")
            && absent.ends_with("get it by hand (docker pull 127.0.0.1:1/nobody/serves:this), or name another image"),
        "{absent}"
    );
    let id = format!("sha256:{}", "0".repeat(64));
    insta::assert_snapshot!(refusal(Root::Image(id)).await, @"the docker sandbox cannot be used: the engine has no image sha256:0000000000000000000000000000000000000000000000000000000000000000, and an id cannot be pulled; name the image by NAME:TAG or NAME@sha256:…");
    insta::assert_snapshot!(refusal(Root::Image("a?force=1".to_owned())).await, @r#"the docker sandbox cannot be used: an image's name; "a?force=1" is none; write it as NAME:TAG, NAME@sha256:… or an image's id"#);
    insta::assert_snapshot!(refusal(Root::Host { toolchains: Vec::new() }).await, @"the docker sandbox cannot be used: a container's root file system is an image, and none is named; name one (sandbox.image, --image)");
}
