UPDATE orders_01 SET v = '3' WHERE id = 1;
