UPDATE orders_1 SET v = 3;
DELETE FROM orders_2;
INSERT INTO zz_end VALUES (1);
