UPDATE orders_01 SET v = '4' WHERE id = 1;
