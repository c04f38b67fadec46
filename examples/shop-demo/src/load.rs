//! The shop at work: customers who order, staff who change prices, names and codes, and readers who fill page caches.
//!
//! Invariant: every transaction touches rows of several tables or none at all, and no writer waits for another for long:
//! each has orders of its own. What the database answers is all that a writer believes. Start at [`Load::start`].

use crate::purchase::Purchases;
use crate::servers::Servers;
use crate::shop::{BRANDS, CATEGORIES, CUSTOMERS, ORDERS, PRODUCTS, VARIANTS};
use headwater_testkit::{Connection, Row, Session};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Transactions a second that the writers aim at, together.
pub const TRANSACTIONS_PER_S: u32 = 300;
const WRITERS: u64 = 4;
/// Purchases whose way into the cache is timed, a second.
const TIMED_PER_S: u32 = 10;
/// Pages that the readers put into the cache, a second.
const PAGES_PER_S: u32 = 20;
/// A writer's orders; beyond them the oldest is deleted, so that the shop does not grow while it runs.
const ORDERS_KEPT: usize = 2_000;
/// Between two tries of a database that is away.
const RETRY: Duration = Duration::from_millis(50);
/// Whoever was held up for longer does not catch up what it has missed.
const BEHIND_MAX: Duration = Duration::from_secs(1);

/// Threads that use the shop until they are told to end; dropped, they are told, and waited for.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads share.
struct Shared {
    servers: Arc<Servers>,
    stop: AtomicBool,
    committed: AtomicU64,
    next_order: AtomicU64,
    purchases: Purchases,
}

impl Load {
    /// Starts the writers, the one who times its purchases, and the reader.
    pub fn start(servers: &Arc<Servers>) -> Self {
        let shared = Arc::new(Shared {
            servers: servers.clone(),
            stop: AtomicBool::new(false),
            committed: AtomicU64::new(0),
            next_order: AtomicU64::new(ORDERS + 1),
            purchases: Purchases::default(),
        });
        let spawn = |work: fn(u64, &Shared), number: u64| {
            let shared = shared.clone();
            thread::spawn(move || work(number, &shared))
        };
        let mut threads: Vec<_> = (0..WRITERS).map(|number| spawn(write, number)).collect();
        threads.push(spawn(purchase, WRITERS));
        threads.push(spawn(read, WRITERS + 1));
        Self { shared, threads }
    }

    /// Transactions that the database has confirmed.
    pub fn committed(&self) -> u64 {
        self.shared.committed.load(Ordering::Acquire)
    }

    /// How long purchases took to be readable in the cache.
    pub fn purchases(&self) -> &Purchases {
        &self.shared.purchases
    }

    /// Ends the threads; false when one of them had panicked.
    pub fn finish(&mut self) -> bool {
        self.shared.stop.store(true, Ordering::Release);
        let ended: Vec<_> = self.threads.drain(..).map(JoinHandle::join).collect();
        ended.iter().all(Result::is_ok)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Acquire)
    }

    /// Runs `sql`; whether it was committed. A session that is lost is opened anew.
    fn transact(&self, session: &mut Option<Session>, sql: &str) -> Option<Vec<Row>> {
        if session.is_none() {
            *session = self.servers.session();
        }
        let Some(open) = session.as_mut() else {
            thread::sleep(RETRY);
            return None;
        };
        match open.exec(sql) {
            Ok(rows) => return Some(rows),
            // Nobody knows whether a transaction was committed whose session is lost. The comparison at the end does.
            Err(_) if open.is_lost() || open.exec("rollback").is_err() => *session = None,
            Err(_) => {}
        }
        None
    }

    fn new_order_id(&self) -> u64 {
        self.next_order.fetch_add(1, Ordering::AcqRel)
    }
}

/// Keeps a thread at its rate.
struct Pace {
    every: Duration,
    due: Instant,
}

impl Pace {
    fn new(per_s: f64) -> Self {
        Self { every: Duration::from_secs_f64(1.0 / per_s), due: Instant::now() }
    }

    fn wait(&mut self) {
        let now = Instant::now();
        thread::sleep(self.due.saturating_duration_since(now));
        self.due = (self.due + self.every).max(now.checked_sub(BEHIND_MAX).unwrap_or(now));
    }
}

/// A writer, until the end.
fn write(number: u64, shared: &Shared) {
    let mut writer = Writer {
        random: StdRng::seed_from_u64(number),
        orders: (1..=ORDERS).filter(|order| order % WRITERS == number).collect(),
        products: VecDeque::new(),
        next_product: PRODUCTS + 1 + number * 1_000_000,
    };
    let mut session = None;
    let mut pace = Pace::new(f64::from(TRANSACTIONS_PER_S) / WRITERS as f64);
    while shared.goes_on() {
        pace.wait();
        let sql = writer.transaction(shared);
        let committed = shared.transact(&mut session, &sql).is_some() && !sql.ends_with("rollback");
        shared.committed.fetch_add(u64::from(committed), Ordering::AcqRel);
    }
}

struct Writer {
    random: StdRng,
    /// Orders that it has placed and not deleted, oldest first.
    orders: VecDeque<u64>,
    /// Products that it has added and not deleted.
    products: VecDeque<u64>,
    next_product: u64,
}

impl Writer {
    /// One transaction, from begin to commit; sometimes to rollback, of which no trace may ever be seen.
    fn transaction(&mut self, shared: &Shared) -> String {
        let order = self.orders.get(self.random.random_range(0..self.orders.len().max(1))).copied().unwrap_or(0);
        let oldest = self.orders.front().copied().filter(|_| self.orders.len() > ORDERS_KEPT);
        let body = match self.random.random_range(0..100) {
            0..45 => match oldest {
                Some(oldest) => {
                    self.orders.pop_front();
                    delete(oldest)
                }
                None => self.place(shared),
            },
            45..62 => advance(order),
            62..74 => self.reprice(),
            74..80 => self.change_items(order),
            80..84 => format!(
                "update shop.orders set customer_id = {}, note = 'مدموج 🛒' where order_id = {order}; {}",
                self.random.random_range(1..=CUSTOMERS),
                advance(order)
            ),
            84..88 => self.renumber(order, shared),
            88..93 => {
                self.orders.retain(|kept| *kept != order);
                delete(order)
            }
            93..96 => self.recode(),
            96..98 => self.products(),
            _ => return format!("begin; {} rollback", self.place(shared)),
        };
        format!("begin; {body} commit")
    }

    fn place(&mut self, shared: &Shared) -> String {
        let order = shared.new_order_id();
        self.orders.push_back(order);
        place(order, &mut self.random)
    }

    fn reprice(&mut self) -> String {
        let (product, cents) = (popular(&mut self.random, PRODUCTS), self.random.random_range(100..99_000));
        format!(
            "update shop.product_variants set base_price = {}.{:02} + variant_id % 3,
               discounted_price = if(variant_id % 2, base_price * 0.9, null) where product_id = {product};
             update shop.products set updated_at = now(3) where product_id = {product} and product_id % 10 = 0; ",
            cents / 100,
            cents % 100,
        )
    }

    /// Lines move down by one, so that each key but the last is taken by the next: keys that change into one another.
    fn change_items(&mut self, order: u64) -> String {
        let change = match self.random.random_range(0..3) {
            0 => format!(
                "update shop.order_items set line_no = line_no + 1 where order_id = {order} order by line_no desc"
            ),
            1 => format!("update shop.order_items set quantity = quantity + 1 where order_id = {order} limit 1"),
            _ => format!("delete from shop.order_items where order_id = {order} order by line_no desc limit 1"),
        };
        format!("{change}; {}", sum_up(order))
    }

    /// The primary key itself changes, in both tables.
    fn renumber(&mut self, order: u64, shared: &Shared) -> String {
        let new = shared.new_order_id();
        self.orders.retain(|kept| *kept != order);
        self.orders.push_back(new);
        format!(
            "update shop.orders set order_id = {new} where order_id = {order};
             update shop.order_items set order_id = {new} where order_id = {order}; "
        )
    }

    fn recode(&mut self) -> String {
        let (variant, code) = (self.random.random_range(1..=VARIANTS), self.random.random::<u32>());
        format!(
            "update shop.product_variants set sku = 'SKU-{variant}-{code}', stock_status = if(stock > 20, 'in_stock', 'low')
               where variant_id = {variant};
             update shop.order_items set sku = 'SKU-{variant}-{code}' where order_id = {} and variant_id = {variant}; ",
            self.orders.back().copied().unwrap_or(0),
        )
    }

    /// A product moves to another category or brand, is added, or goes with its variants.
    fn products(&mut self) -> String {
        let (category, brand) = (self.random.random_range(1..=CATEGORIES), self.random.random_range(1..=BRANDS));
        match self.random.random_range(0..5) {
            0..2 => format!(
                "update shop.products set category_id = {category}, brand_id = {brand}, name_en = 'moved \"{brand}\"',
                   name_ar = 'منتج منقول', updated_at = now(3) where product_id = {}; ",
                popular(&mut self.random, PRODUCTS)
            ),
            2 => format!(
                "update shop.brands set name_en = concat('Brand ', now(3)) where brand_id = {brand};
                 update shop.categories set name_ar = concat('قسم ', second(now())) where category_id = {category}; "
            ),
            3 if !self.products.is_empty() => {
                let product = self.products.pop_front().unwrap_or(0);
                format!(
                    "delete from shop.product_variants where product_id = {product};
                     delete from shop.products where product_id = {product}; "
                )
            }
            _ => {
                let product = self.next_product;
                self.next_product += 1;
                self.products.push_back(product);
                format!(
                    "insert into shop.products values ({product}, {brand}, {category}, 'منتج جديد ✨', 'new\\tproduct', null,
                       null, '[]', now(3));
                     insert into shop.product_variants values ({product} * 10, {product}, 'SKU-N{product}', 'أبيض', 10.50,
                       null, 5, 'low'), ({product} * 10 + 1, {product}, 'SKU-M{product}', 'أسود', 99999999.99, 0.01, 0,
                       'out_of_stock'); "
                )
            }
        }
    }
}

/// Mostly any, sometimes one of the first few: those are the ones that are watched.
fn popular(random: &mut StdRng, count: u64) -> u64 {
    let among = *[count, count, count, 10].choose(random).unwrap_or(&count);
    random.random_range(1..=among)
}

/// A new order with its lines. The stock first: whoever else wants these variants waits here and nowhere later.
fn place(order: u64, random: &mut StdRng) -> String {
    let mut variants: Vec<u64> = (0..random.random_range(1..5)).map(|_| popular(random, VARIANTS)).collect();
    variants.sort_unstable();
    let list: Vec<String> = variants.iter().map(u64::to_string).collect();
    let mut sql = format!(
        "update shop.product_variants set stock = if(stock > 0, stock - 1, 100) where variant_id in ({});
         insert into shop.orders values ({order}, {}, 'placed', 0, null, now(3)); ",
        list.join(", "),
        random.random_range(1..=CUSTOMERS),
    );
    for (line, variant) in (1..).zip(&variants) {
        sql.push_str(&format!(
            "insert into shop.order_items select {order}, {line}, variant_id, product_id, sku, {}, base_price
               from shop.product_variants where variant_id = {variant}; ",
            random.random_range(1..4)
        ));
    }
    sql + &sum_up(order)
}

fn sum_up(order: u64) -> String {
    format!(
        "update shop.orders set total = (select coalesce(sum(quantity * unit_price), 0) from shop.order_items
           where order_id = {order}) where order_id = {order}; "
    )
}

fn advance(order: u64) -> String {
    format!(
        "update shop.orders set status = elt(status + 0, 'paid', 'shipped', 'delivered', 'delivered')
           where order_id = {order}; "
    )
}

fn delete(order: u64) -> String {
    format!("delete from shop.order_items where order_id = {order}; delete from shop.orders where order_id = {order}; ")
}

/// A customer who looks for each order in the cache as soon as the database has confirmed it.
fn purchase(number: u64, shared: &Shared) {
    let mut random = StdRng::seed_from_u64(number);
    let (mut session, mut cache) = (None, None);
    let mut pace = Pace::new(f64::from(TIMED_PER_S));
    let mut placed = VecDeque::new();
    while shared.goes_on() {
        pace.wait();
        let order = shared.new_order_id();
        let oldest = if placed.len() > ORDERS_KEPT { placed.pop_front().map(delete) } else { None };
        let oldest = oldest.unwrap_or_default();
        let sql = format!("begin; {oldest}{} commit", place(order, &mut random));
        if shared.transact(&mut session, &sql).is_some() {
            shared.committed.fetch_add(1, Ordering::AcqRel);
            placed.push_back(order);
            let seen = |cache: &mut Option<Connection>| is_in_cache(shared, cache, order);
            shared.purchases.time(|| seen(&mut cache), || shared.goes_on());
        }
    }
}

fn is_in_cache(shared: &Shared, cache: &mut Option<Connection>, order: u64) -> bool {
    if cache.is_none() {
        *cache = shared.servers.cache().ok();
    }
    let answer = cache.as_mut().map(|cache| cache.call(&["EXISTS", &format!("order:{order}")]));
    match answer {
        Some(Ok(answer)) => answer.text().as_deref() == Some("1"),
        _ => {
            *cache = None;
            false
        }
    }
}

/// Readers who put the pages of categories into the cache, as shops do. Headwater drops a page when it is out of date.
///
/// The rows are locked until the page is there: a change of them is committed later, so its invalidation comes later, too.
/// Without the lock a page that was read before a change could be put there after its invalidation, and stay.
fn read(number: u64, shared: &Shared) {
    let mut random = StdRng::seed_from_u64(number);
    let (mut session, mut cache) = (None, None);
    let mut pace = Pace::new(f64::from(PAGES_PER_S));
    while shared.goes_on() {
        pace.wait();
        let (category, language) = (random.random_range(1..=CATEGORIES), ["ar", "en"][random.random_range(0..2)]);
        let sql = format!("begin; {} lock in share mode", page(&category.to_string(), language));
        let Some(rows) = shared.transact(&mut session, &sql) else { continue };
        let names: Vec<String> = rows.into_iter().map(|row| row.into_iter().flatten().collect()).collect();
        if cache.is_none() {
            cache = shared.servers.cache().ok();
        }
        let key = format!("page:category:{category}:{language}");
        let put = cache.as_mut().is_some_and(|cache| cache.call(&["SET", &key, &names.join("\n")]).is_ok());
        if !put {
            cache = None;
        }
        shared.transact(&mut session, "commit");
    }
}

/// The statement whose rows are the lines of a category's page.
pub fn page(category: &str, language: &str) -> String {
    format!("select name_{language} from shop.products where category_id = {category} order by product_id")
}
