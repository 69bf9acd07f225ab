//! The images that containers start from, those that are created, and what is visible of them inside.

use super::*;

#[tokio::test]
#[ignore = "needs Docker"]
async fn concurrent_starts_add_the_toolbox_to_an_image_once() {
    let fresh = FreshImage::with(&[]);
    // As in four processes.
    let starts = (0..4).map(|_| async {
        let sandbox = connect(&options("images")).unwrap();
        let toolbox = sandbox.start(&spec(&fresh.name)).await.unwrap();
        assert_eq!(ok(&toolbox, "echo ran").await, "ran\n");
        toolbox.shut_down().await;
    });
    futures_util::future::join_all(starts).await;
    assert_eq!(fresh.derived().len(), 1, "{:?}", fresh.derived());
    let builders =
        docker(&["ps", "--all", "--quiet", "--filter", &format!("label=mendwright.base={}", fresh.id)]);
    assert_eq!(builders, "", "the container that built the image is left");
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn removed_derived_image_is_created_again() {
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
async fn image_settings_apply_except_proxies_volumes_user_and_entrypoint() {
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
    let output = ok(&toolbox, "echo $JAVA_HOME $PATH $HOME; id -u; id -un; env | grep -ci proxy; true").await;
    assert_eq!(
        output,
        "/opt/java /home/agent/.local/bin:/opt/java/bin:/usr/bin:/bin /home/agent\n1000\nagent\n0\n"
    );
    fails(&toolbox, "touch /data/x").await;
    assert!(toolbox.description().contains("the image's volumes are empty and read-only: /data"));
    assert_eq!(docker(&["volume", "ls", "--quiet"]), volumes, "the engine created a volume");
    toolbox.shut_down().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn image_is_resolved_to_its_current_id() {
    let fresh = FreshImage::with(&[]);
    let sandbox = connect(&options("images")).unwrap();
    let resolved = sandbox.resolve(&Root::Image(fresh.name.clone())).await.unwrap();
    assert_eq!((&resolved.digest, &resolved.root), (&fresh.id, &Root::Image(fresh.id.clone())));
    // The name moves to another image; the resolved root does not.
    docker(&["tag", IMAGE, &fresh.name]);
    let again = sandbox.resolve(&resolved.root).await.unwrap();
    assert_eq!(again.digest, fresh.id);
    assert_ne!(sandbox.resolve(&Root::Image(fresh.name.clone())).await.unwrap().digest, fresh.id);
    docker(&["rmi", &fresh.name]);
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn unavailable_image_is_an_error_with_a_remedy() {
    let sandbox = connect(&options("images")).unwrap();
    let refusal = async |root: Root| {
        let spec = SandboxSpec { root, ..SandboxSpec::named("absent") };
        sandbox.start(&spec).await.err().unwrap().to_string()
    };
    let absent = refusal(Root::Image("127.0.0.1:1/nobody/serves:this".to_owned())).await;
    assert!(
        absent.starts_with("the docker sandbox cannot be used: the engine has no image 127.0.0.1:1/nobody/serves:this, and it cannot be pulled (")
            && absent.ends_with("pull it manually (docker pull 127.0.0.1:1/nobody/serves:this), or name another image"),
        "{absent}"
    );
    let id = format!("sha256:{}", "0".repeat(64));
    insta::assert_snapshot!(refusal(Root::Image(id)).await, @"the docker sandbox cannot be used: the engine has no image sha256:0000000000000000000000000000000000000000000000000000000000000000, and an id cannot be pulled; name the image by NAME:TAG or NAME@sha256:…");
    insta::assert_snapshot!(refusal(Root::Image("a?force=1".to_owned())).await, @r#"the docker sandbox cannot be used: a valid image name; "a?force=1" is not one; write it as NAME:TAG, NAME@sha256:… or an image id"#);
    insta::assert_snapshot!(refusal(Root::Host { toolchains: Vec::new() }).await, @"the docker sandbox cannot be used: a container needs an image as its root file system, but none is named; name one (sandbox.image, --image)");
}
