The console asks whether somebody still watches where views are limited (`budget.view_s`), and answers by itself for whoever is at the page; shows a vehicle's spent data with its
budget, which operators set there; and shows how good every stream's picture and sound are.
