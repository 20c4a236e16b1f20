//! The page of all views.

use tidemark_views::{ViewStore, Windowing};

use crate::chromium::Browser;
use crate::support::*;
use crate::views_support::*;
use crate::{figure, serve};

const START: i64 = NOW_HOUR * HOUR_MS;

#[tokio::test(flavor = "multi_thread")]
async fn a_view_applied_shows_up_with_its_figures_and_why_it_is_open() {
    // It is over, or nobody would be to blame for its being open.
    let (f, start) = (Fixture::new().await, START - HOUR_MS);
    let url = serve(&f).await;
    let mut page = Browser::open().await;
    page.go(&format!("{url}/views")).await;
    page.until("!document.getElementById('empty').hidden").await;

    let (v, bytes) = (version(1, HOURS), figure());
    f.views.create(&v.table).await.unwrap();
    let row = view_row(start, 1, address("first & <b>", 443), sums(bytes, 3), 5);
    f.views.put_rows(&v.table, &[row]).await.unwrap();
    f.known(&v, window(&v, start, 1, |l| l.records = 3)).await;
    f.sources(&v, &[(0, Some(start + 7), None), (1, Some(start + HOUR_MS), None)], 1).await;
    f.views.put_catalog(&entry("access.hourly", 1, std::slice::from_ref(&v))).await.unwrap();
    page.until("document.querySelectorAll('#rows tbody tr').length === 1").await;
    assert_eq!(page.eval("document.querySelector('#rows tbody th').textContent").await, "first & <b>");
    let cells = page.eval("[...document.querySelectorAll('#rows td')].map(c => c.dataset.value).join()").await;
    assert_eq!(cells, format!("443,{bytes},0.5,3"), "exact, although it does not fit a double");
    assert_eq!(page.eval("document.querySelector('#list .name').textContent").await, "access.hourly");
    assert_eq!(page.eval("document.querySelector('#rows thead small').textContent").await, "± 2 %", "the error stated");

    page.until("document.getElementById('window-state')?.textContent === 'open'").await;
    let why = page.eval("document.getElementById('why').textContent").await;
    for part in ["access.logged, partition 0", "21 Nov 02:00:00", "read up to offset 1000", "passed 21 Nov 03:10:00"] {
        assert!(why.as_str().unwrap().contains(part), "{part} in {why}");
    }
    let behind = "[...document.querySelectorAll('#behind tbody th')].map(c => c.textContent).join()";
    assert_eq!(page.eval(behind).await, "access.logged 0,access.logged 1");

    f.known(&v, window(&v, start, 1, |l| (l.closed_at, l.records, l.revision) = (Some(start + 5_000), 3, 6))).await;
    f.reached(&v, start + HOUR_MS + GRACE_MS, 2).await;
    page.until("document.getElementById('window-state').textContent === 'final'").await;
    let why = page.eval("document.getElementById('why').textContent").await;
    assert!(why.as_str().unwrap().contains("closed at 21 Nov 02:00:05, when merge partition 1"), "{why}");
    assert_eq!(page.eval("document.getElementById('behind-box').hidden").await, true);
    assert_eq!(page.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_are_chosen_rows_filtered_and_versions_changed() {
    let v = version(1, Windowing::Hopping { size_ms: 30 * MINUTE_MS, hop_ms: 15 * MINUTE_MS });
    let f = access(&v).await;
    let addresses: Vec<_> = (0..60).map(|at| (["a", "b", "c"][at as usize % 3], at)).collect();
    f.fill(&v, START, &addresses).await;
    f.fill(&v, START - 15 * MINUTE_MS, &addresses[..4]).await;
    f.reached(&v, START + 15 * MINUTE_MS + GRACE_MS, 1).await;
    let other = version(2, HOURS);
    f.views.create(&other.table).await.unwrap();
    f.fill(&other, START, &addresses[..7]).await;
    f.views.put_catalog(&entry("access", 2, &[v, other])).await.unwrap();
    let url = serve(&f).await;
    let mut page = Browser::open().await;
    page.go(&format!("{url}/views#access")).await;
    let rows = |n: usize| format!("document.querySelectorAll('#rows tbody tr').length === {n}");
    page.until(&rows(25)).await;
    for (n, name) in [(25, "page 2"), (10, "page 3")] {
        page.eval("document.getElementById('next').click()").await;
        page.until(&format!("document.getElementById('page').textContent === '{name}'")).await;
        page.until(&rows(n)).await;
    }
    page.eval("document.querySelector('#filter input').value = 'b'").await;
    page.eval("document.querySelector('#filter button[type=submit]').click()").await;
    page.until(&rows(20)).await;
    let csv = page.eval("fetch(document.getElementById('csv').href).then(r => r.text())").await;
    assert_eq!(csv.as_str().unwrap().lines().count(), 21, "the link has the filter too");

    page.until("document.querySelectorAll('#series path').length === 5").await;
    page.eval("document.querySelector('#series-legend button').click()").await;
    page.until(&rows(1)).await;
    page.eval("document.querySelector('#filter button[type=reset]').click()").await;
    page.until(&rows(25)).await;

    page.eval("document.querySelector('.slot[aria-pressed=true]').focus()").await;
    page.key("ArrowLeft").await;
    page.until("document.getElementById('window-title').textContent === '21 Nov, 02:45–03:15 UTC'").await;
    page.until(&rows(4)).await;
    page.until("document.getElementById('window-state').textContent === 'final'").await;
    let focus = page.eval("document.activeElement.getAttribute('aria-label')").await;
    assert_eq!(focus, "21 Nov, 02:45–03:15 UTC: final, 4 records");

    page.eval("document.querySelectorAll('#versions a')[1].click()").await;
    page.until(&rows(7)).await;
    assert_eq!(page.eval("document.getElementById('window-title').textContent").await, "21 Nov, 03:00–04:00 UTC");
    assert_eq!(page.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_width_or_theme_hides_anything_of_a_view() {
    let v = version(1, HOURS);
    let f = access(&v).await;
    let long = "long.name".repeat(40);
    f.fill(&v, START, &[(&long, 1), ("b", 2)]).await;
    // Hours without records are shown as narrow as the others.
    for at in [3, 6, 9, 12] {
        f.fill(&v, START - at * HOUR_MS, &[("b", 2)]).await;
    }
    f.reached(&v, START, 1).await;
    let url = serve(&f).await;
    let mut page = Browser::open().await;
    for (width, scheme) in [(360, "light"), (360, "dark"), (1280, "light"), (1280, "dark")] {
        page.view(width, scheme).await;
        page.go(&format!("{url}/views")).await;
        page.until("document.querySelectorAll('#rows tbody tr').length === 2").await;
        page.until("document.querySelectorAll('#series path').length === 6").await;
        let beyond = page.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
        assert_eq!(beyond, 0, "nothing to scroll sideways at {width}");
        let widths = "new Set([...document.querySelectorAll('#windows .slot')].map(s => Math.round(s.getBoundingClientRect().width))).size";
        assert!(page.eval(widths).await.as_i64().unwrap() <= 2, "each slot is as wide as the others, but for rounding");
    }
    assert_eq!(page.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn earlier_windows_can_be_reached_and_a_wrong_address_is_said() {
    let v = version(1, HOURS);
    let f = access(&v).await;
    for at in 0..60 {
        f.fill(&v, START - at * HOUR_MS, &[("b", 2)]).await;
    }
    f.reached(&v, START, 1).await;
    let url = serve(&f).await;
    let mut page = Browser::open().await;
    page.go(&format!("{url}/views#access")).await;
    let title = |text: &str| format!("document.getElementById('window-title').textContent === '{text}'");
    page.until(&title("21 Nov, 03:00–04:00 UTC")).await;
    page.until("!document.getElementById('earlier').disabled").await;
    page.eval("document.getElementById('earlier').click()").await;
    page.until(&title("19 Nov, 03:00–04:00 UTC")).await;
    page.until("document.querySelectorAll('#windows .slot').length === 12").await;
    assert_eq!(page.eval("document.getElementById('earlier').disabled").await, true);
    page.eval("document.getElementById('later').click()").await;
    page.until(&title("21 Nov, 03:00–04:00 UTC")).await;
    page.go(&format!("{url}/views#acess%E0")).await;
    page.until("!document.getElementById('trouble').hidden").await;
    let said = page.eval("document.getElementById('trouble').textContent").await;
    assert_eq!(said, "There is no view “acess%E0”; this is access.");
    page.go(&format!("{url}/views#access@7")).await;
    page.until("document.getElementById('trouble').textContent.includes('no version 7')").await;
    assert_eq!(page.complaints(), Vec::<String>::new());
}
