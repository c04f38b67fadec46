//! The shop: its tables, the rows it begins with, and the user that Headwater reads it as.
//!
//! Invariant: money is DECIMAL, names are in Arabic and English, and every table has a key. Start at [`create`].

use headwater_testkit::{Database, Result};

/// Rows that the shop begins with.
pub const BRANDS: u64 = 40;
/// As above.
pub const CATEGORIES: u64 = 30;
/// As above.
pub const PRODUCTS: u64 = 1_500;
/// As above; each product has the same number of variants.
pub const VARIANTS: u64 = PRODUCTS * 3;
/// As above.
pub const ORDERS: u64 = 2_000;
/// Customers are numbers only: the shop has no table of them.
pub const CUSTOMERS: u64 = 500;

const TABLES: &str = "
create database shop character set utf8mb4;
create table shop.brands (
  brand_id int unsigned primary key, name_ar varchar(80) not null, name_en varchar(80) not null);
create table shop.categories (
  category_id int unsigned primary key, path varchar(200) not null, name_ar varchar(80) not null,
  name_en varchar(80) not null, description_ar text null);
create table shop.products (
  product_id int unsigned primary key, brand_id int unsigned not null, category_id int unsigned not null,
  name_ar varchar(200) not null, name_en varchar(200) not null, description_ar text null, description_en text null,
  badges json null, updated_at datetime(3) not null, key (category_id));
create table shop.product_variants (
  variant_id bigint unsigned primary key, product_id int unsigned not null, sku varchar(40) not null unique,
  color varchar(40) not null, base_price decimal(10,2) not null, discounted_price decimal(10,2) null,
  stock int not null, stock_status enum('in_stock', 'low', 'out_of_stock') not null, key (product_id));
create table shop.orders (
  order_id bigint unsigned primary key, customer_id int unsigned not null,
  status enum('placed', 'paid', 'shipped', 'delivered') not null, total decimal(12,2) not null,
  note varchar(200) null, created_at datetime(3) not null, key (customer_id));
create table shop.order_items (
  order_id bigint unsigned not null, line_no smallint unsigned not null, variant_id bigint unsigned not null,
  product_id int unsigned not null, sku varchar(40) not null, quantity int unsigned not null,
  unit_price decimal(10,2) not null, primary key (order_id, line_no));
";

/// Makes the tables, fills them, and makes the user `shop_cdc` with the privileges that Headwater needs and no other.
pub fn create(database: &Database, password: &str) -> Result {
    database.try_exec(TABLES)?;
    database.try_exec(&rows())?;
    // SELECT is for the rows that are there already, the others for the log.
    database.try_exec(&format!(
        "create user shop_cdc@'127.0.0.1' identified by '{password}';
         grant replication slave, binlog monitor on *.* to shop_cdc@'127.0.0.1';
         grant select on shop.* to shop_cdc@'127.0.0.1';"
    ))
}

/// The inserts of the first rows. MariaDB's tables `seq_1_to_N` are the numbers 1 to N.
fn rows() -> String {
    let item = "v.variant_id, v.product_id, v.sku";
    format!(
        "use shop;
         insert into shop.brands select seq, concat('ماركة ', {brand_ar}, ' ', seq), concat({brand_en}, ' ', seq)
           from seq_1_to_{BRANDS};
         insert into shop.categories select seq, concat('/', {thing_en}, '/', seq), concat({thing_ar}, ' ', seq),
           concat({thing_en}, ' ', seq), if(seq % 3, concat('كل ما يخص ', {thing_ar}), null) from seq_1_to_{CATEGORIES};
         insert into shop.products select seq, 1 + seq % {BRANDS}, 1 + seq % {CATEGORIES}, concat({thing_ar}, ' ', seq),
           concat({thing_en}, ' ', seq), 'وصف المنتج', 'Description', {badges}, now(3) from seq_1_to_{PRODUCTS};
         insert into shop.product_variants select seq, 1 + (seq - 1) div 3, concat('SKU-', seq),
           elt(1 + seq % 3, 'أحمر', 'أزرق', 'أسود'), 5 + (seq * 37 % 99000) / 100,
           if(seq % 4, null, 4 + (seq * 37 % 90000) / 100), 50 + seq % 200, 'in_stock' from seq_1_to_{VARIANTS};
         insert into shop.orders select seq, 1 + seq % {CUSTOMERS}, 1 + seq % 4, 0, null, now(3) from seq_1_to_{ORDERS};
         insert into shop.order_items select seq, 1, {item}, 1 + seq % 3, v.base_price
           from seq_1_to_{ORDERS} join shop.product_variants v on v.variant_id = 1 + seq * 7 % {VARIANTS};
         insert into shop.order_items select seq, 2, {item}, 1, v.base_price
           from seq_1_to_{ORDERS} join shop.product_variants v on v.variant_id = 1 + seq * 11 % {VARIANTS}
           where seq % 2;
         update shop.orders o set total =
           (select sum(quantity * unit_price) from shop.order_items i where i.order_id = o.order_id);",
        brand_ar = "elt(1 + seq % 4, 'الأصالة', 'النور', 'زهرة', 'الريف')",
        brand_en = "elt(1 + seq % 4, 'Asala', 'Noor', 'Zahra', 'Reef')",
        thing_ar = "elt(1 + seq % 5, 'قميص', 'حذاء', 'حقيبة', 'عطر', 'ساعة')",
        thing_en = "elt(1 + seq % 5, 'shirt', 'shoe', 'bag', 'perfume', 'watch')",
        badges = r#"elt(1 + seq % 3, '["جديد", "sale"]', '{"rank": 1, "tags": ["top"]}', null)"#,
    )
}
