//! The whole registration in a real browser.

use super::browser::Chromium;
use crate::support::World;

#[tokio::test]
#[ignore = "needs Chromium"]
async fn operator_registers_and_installs_the_app_which_fixes_an_issue() {
    let mut world = World::new().await;
    let page = world.start_service_without_app(&[], &[]).await;
    let browser = Chromium::start().await;
    browser.open(&page).await;
    assert_eq!(browser.text("h1").await, "Register Mendwright with GitHub");
    assert_eq!(browser.style("#register", "font-weight").await, "600", "the style sheet was not loaded");
    browser.picture("1-register").await;

    // An organisation needs one more step.
    browser.type_into("#organisation", "octo-org").await;
    browser.click("button.plain").await;
    browser.until_at("organisation=octo-org").await;
    assert!(browser.text(".box").await.contains("organisation octo-org"));
    browser.picture("2-organisation").await;

    browser.click("#register").await;
    browser.until_at("/organizations/octo-org/settings/apps/new").await;
    browser.type_into("input[name=name]", "octo-org mends").await;
    browser.picture("3-github").await;
    browser.click("#create").await;
    browser.until_at("/setup/done").await;
    let done = browser.text("main").await;
    assert!(done.contains("octo-org mends of octo-org is registered"), "{done}");
    browser.picture("4-done").await;

    browser.click("#install").await;
    browser.until_at("/apps/octo-org-mends/installations/new").await;
    browser.click("#confirm").await;
    assert!(browser.text("#installed").await.contains("was installed"));

    world.label("octo-maintainer").await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    world.jobs_ended(1).await;
    browser.close().await;
    world.end().await;
}

#[tokio::test]
#[ignore = "needs Chromium"]
async fn problem_pages_are_readable_in_a_browser() {
    let mut world = World::new().await;
    let page = world.start_service_without_app(&[], &[]).await;
    let browser = Chromium::start().await;
    browser.open(&page).await;
    browser.click("#register").await;
    browser.until_at("/settings/apps/new").await;
    let room = world.directory.path().join("data/github-app.json.new");
    std::os::unix::fs::symlink("/dev/full", &room).unwrap();
    browser.type_into("input[name=name]", "mends").await;
    browser.click("#create").await;
    browser.until_at("/setup/callback").await;
    assert_eq!(browser.text("h1").await, "The credentials cannot be stored");
    browser.picture("5-disk-full").await;
    std::fs::remove_file(&room).unwrap();
    browser.open(&browser.address().await).await;
    browser.until_at("/setup/done").await;

    browser.open(&page.replace("/setup", "/setup/callback?code=x&state=y")).await;
    browser.until_at("/setup/done").await;
    browser.close().await;
    world.end().await;
}
